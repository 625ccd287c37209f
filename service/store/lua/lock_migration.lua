--@ keys: migration
--@ arguments: token, lock_ms, holder
--@ result: DONE | LOCK_LOST
--@ schema: any
--@ when full: yes
-- Gives the lock of the migration to a process for the next `lock_ms` milliseconds. `holder` says from whom: 'nobody',
-- 'itself' to prolong its lock, or 'anybody' where the caller excludes that another migration runs.
local found = redis.call('GET', migration)
if holder == 'nobody' and found then return 'LOCK_LOST' end
if holder == 'itself' and found ~= token then return 'LOCK_LOST' end
redis.call('SET', migration, token, 'PX', lock_ms)
return 'DONE'
