--@ keys: trainers
--@ arguments: schema, name, seconds
--@ result: DONE
--@ schema: created
-- Records that a training process lives for the next `seconds`, and forgets those that do not. A server that has lost
-- its data takes this version again with the next heartbeat.
redis.call('ZADD', trainers, now() + seconds, name)
redis.call('ZREMRANGEBYSCORE', trainers, '-inf', now())
return 'DONE'
