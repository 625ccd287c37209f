--@ keys: record
--@ arguments: id
--@ rest: tags
--@ result: DELETED | RUNNING | MISSING
--@ uses: deleting
--@ when full: yes
-- Deletes an experiment and its history.
local status = redis.call('HGET', record, 'status')
if not status then return 'MISSING' end
if status == 'running' then return 'RUNNING' end
delete(status, {unpack(ARGV, tags_start)})
return 'DELETED'
