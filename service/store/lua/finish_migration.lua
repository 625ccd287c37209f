--@ keys: schema, migration, reserved
--@ arguments: token, version, old_reserved, old_notified, old_trainers
--@ result: DONE | LOCK_LOST
--@ schema: any
--@ when full: yes
-- The last step of a migration: the keys of version 0 that have other names now, the version, and the lock.
if redis.call('GET', migration) ~= token then return 'LOCK_LOST' end
if redis.call('EXISTS', old_reserved) == 1 then redis.call('RENAME', old_reserved, reserved) end
redis.call('DEL', old_notified, old_trainers)
redis.call('SET', schema, version)
redis.call('DEL', migration)
return 'DONE'
