--@ keys: study_hash, of_study
--@ arguments: study
--@ result: CANCELLED | ENDED | MISSING
--@ uses: cancelling
--@ when full: yes
-- Cancels what is queued of a study and asks what runs to stop. ENDED: every run had ended before.
if redis.call('EXISTS', study_hash) == 0 then return 'MISSING' end
local any_open = false
for _, run in ipairs(redis.call('ZRANGE', of_study, 0, -1)) do
  select_run(run)
  local before = fields_of(record, 'status')[1]
  if before == 'queued' or before == 'running' then
    any_open = true
    cancel()
  end
end
if not any_open then return 'ENDED' end
redis.call('HSET', study_hash, 'cancel_requested', '1')
return 'CANCELLED'
