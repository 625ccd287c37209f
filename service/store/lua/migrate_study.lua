--@ keys: study_hash, migration
--@ arguments: study, token
--@ result: DONE | DAMAGED | LOCK_LOST
--@ schema: any
--@ when full: yes
-- Brings one study of version 0 to version 1. Repeating it changes nothing.
if redis.call('GET', migration) ~= token then return 'LOCK_LOST' end
local found = redis.pcall('HSETNX', study_hash, 'warnings', '[]')
return type(found) == 'number' and 'DONE' or 'DAMAGED'
