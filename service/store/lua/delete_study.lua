--@ keys: study_hash, of_study
--@ arguments: study
--@ rest: tags
--@ result: DELETED | RUNNING | MISSING
--@ uses: deleting
--@ when full: yes
-- Deletes a study and its experiments, unless one of them runs.
if redis.call('EXISTS', study_hash) == 0 then return 'MISSING' end
local runs = redis.call('ZRANGE', of_study, 0, -1)
for _, run in ipairs(runs) do
  if fields_of(key.record(run), 'status')[1] == 'running' then return 'RUNNING' end
end
for _, run in ipairs(runs) do
  select_run(run)
  delete(fields_of(record, 'status')[1], {unpack(ARGV, tags_start)})
end
forget_study(study)
return 'DELETED'
