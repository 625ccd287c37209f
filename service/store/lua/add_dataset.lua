--@ keys: dataset_hash, x, y, datasets, datasets_bytes
--@ arguments: dataset, description, bytes, max_bytes, tenant
--@ result: ADDED | FULL
--@ uses: hashes, indexes
--@ schema: created
-- Registers a data set whose arrays were written before, with a time to live. Nothing is left of a refused one; a
-- repeated call keeps what is stored, because a client repeats a call whose answer was lost.
if redis.call('EXISTS', dataset_hash) == 1 then
  rewrite(dataset_hash, 'bytes')
  redis.call('PERSIST', x)
  redis.call('PERSIST', y)
  return 'ADDED'
end
if tonumber(redis.call('GET', datasets_bytes) or '0') + tonumber(bytes) > tonumber(max_bytes) then
  redis.call('DEL', x, y)
  return 'FULL'
end
redis.call('HSET', dataset_hash, 'description', description, 'bytes', bytes, 'created_at', now())
redis.call('PERSIST', x)
redis.call('PERSIST', y)
redis.call('INCRBY', datasets_bytes, bytes)
set_tenant(tenant, dataset_hash)
list(datasets, dataset, dataset_hash)
return 'ADDED'
