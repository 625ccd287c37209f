--@ keys: trainers
--@ arguments: schema
--@ schema: any
-- Returns the names of the training processes that live.
return redis.call('ZRANGEBYSCORE', trainers, now(), '+inf')
