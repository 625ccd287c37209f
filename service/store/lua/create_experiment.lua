--@ keys: record, request_key
--@ arguments: id, spec, warnings, shape, dataset, architecture, steps, bytes, body, remembered_s, max_queued, bytes_left, tenant
--@ rest: tags
--@ result: CREATED | REPEATED | ID_TAKEN | NO_DATASET | OTHER_BODY | TOO_MANY_QUEUED | TOO_MANY_BYTES
--@ uses: creating
--@ schema: created
-- Queues one experiment. Returns a code and a text: with CREATED the time of creation, with REPEATED the id of what a
-- request with the same key created before. Empty arguments: no data set, no request key, no limit, no tenant.
local before = remembered(request_key, body)
if before == 'OTHER_BODY' then return {before, ''} end
if before then return {'REPEATED', before} end
local known = redis.call('HMGET', record, 'spec', 'created_at')
if known[1] then
  if known[1] ~= spec then return {'ID_TAKEN', ''} end
  rewrite(record, 'created_at')  -- the client repeats a call whose answer it lost
  return {'CREATED', known[2]}
end
local refused = refusal(1, bytes, max_queued, bytes_left)
if refused then return {refused, ''} end
if dataset ~= '' and redis.call('EXISTS', key.dataset_hash(dataset)) == 0 then return {'NO_DATASET', ''} end
local created_at = now()
set_tenant(tenant, record)
create(spec, warnings, shape, dataset, architecture, steps, bytes, created_at)
remember(request_key, body, id, record, remembered_s)
for i = tags_start, #ARGV do list(key.with_tag(ARGV[i]), id, record) end
return {'CREATED', created_at}
