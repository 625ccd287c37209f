--@ keys: trainers
--@ arguments: schema, name, seconds
--@ result: DONE
-- Records that a training process lives for the next `seconds`, and forgets those that do not.
redis.call('ZADD', trainers, now() + seconds, name)
redis.call('ZREMRANGEBYSCORE', trainers, '-inf', now())
return 'DONE'
