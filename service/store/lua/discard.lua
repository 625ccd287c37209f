--@ arguments: id
--@ uses: run, measuring
--@ when full: yes
--@ result: DONE
-- Deletes everything of a damaged experiment, study or data set. KEYS: every sorted set and every set of the store, as
-- the fields of the record do not say where it is listed. Only numbers that are numbers are taken from its fields.
select_run(id)
local function number_of(hash, field)
  local found = redis.pcall('HGET', hash, field)
  return whole(type(found) == 'string' and found or '')
end
local is_number, left = readable(redis.call, 'DECRBY', key.reserved, number_of(record, 'reserved'))
if is_number and left <= 0 then redis.call('DEL', key.reserved) end
if redis.call('EXISTS', key.dataset_hash(id)) == 1 then
  local bytes = bytes_of_dataset(key.dataset_hash(id), key.x(id), key.y(id))
  readable(redis.call, 'DECRBY', key.datasets_bytes, bytes)
end
for _, index in ipairs(KEYS) do
  redis.pcall('ZREM', index, id)
  redis.pcall('SREM', index, id)
end
for _, architecture in ipairs(redis.call('ZRANGE', key.queued_architectures, 0, -1)) do
  if redis.call('EXISTS', key.queued_runs(architecture)) == 0 then
    redis.call('ZREM', key.queued_architectures, architecture)
  end
end
for _, name in ipairs(all_series) do redis.call('DEL', key.series(id, name)) end
redis.call('DEL', record, key.model(id), key.checkpoint(id), key.study_hash(id))
redis.call('DEL', key.dataset_hash(id), key.x(id), key.y(id), key.users(id))
return 'DONE'
