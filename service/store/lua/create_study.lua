--@ keys: study_hash, request_key
--@ arguments: study, spec, body, remembered_s, max_queued, bytes_left, tenant, warnings, tag_count
--@ rest: tags
--@ result: CREATED | REPEATED | NO_DATASET | OTHER_BODY | TOO_MANY_QUEUED | TOO_MANY_BYTES
--@ uses: creating
--@ schema: created
-- Queues all runs of a study, or none. After the tags come nine values for each run: id, spec, warnings, shape, data
-- set or '', architecture, steps, bytes of its history, layout of its norms. Returns a code and a text, as
-- create_experiment does.
local repeated = redis.call('HGET', study_hash, 'created_at')
if repeated then
  rewrite(study_hash, 'created_at')  -- the client repeats a call whose answer it lost
  return {'CREATED', repeated}
end
local before = remembered(request_key, body)
if before == 'OTHER_BODY' then return {before, ''} end
if before then return {'REPEATED', before} end
local first, size, runs, bytes = tags_start + tag_count, 9, 0, 0
for i = first, #ARGV, size do
  if ARGV[i + 4] ~= '' and redis.call('EXISTS', key.dataset_hash(ARGV[i + 4])) == 0 then return {'NO_DATASET', ''} end
  runs, bytes = runs + 1, bytes + tonumber(ARGV[i + 7])
end
local refused = refusal(runs, bytes, max_queued, bytes_left)
if refused then return {refused, ''} end
local created_at = now()
redis.call('HSET', study_hash, 'spec', spec, 'warnings', warnings, 'created_at', created_at)
set_tenant(tenant, study_hash)
list(key.studies, study, study_hash)
remember(request_key, body, study, study_hash, remembered_s)
for i = first, #ARGV, size do
  select_run(ARGV[i])
  -- Before `create`, which adds the run to the queue of its architecture.
  redis.call('HSET', record, 'study', study, 'norms', ARGV[i + 8], 'architecture', ARGV[i + 5])
  set_tenant(tenant, record)
  list(key.of_study(study), id, record)
  create(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7], created_at)
  for tag = tags_start, first - 1 do list(key.with_tag(ARGV[tag]), id, record) end
end
return {'CREATED', created_at}
