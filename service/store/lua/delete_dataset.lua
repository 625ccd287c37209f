--@ keys: dataset_hash, x, y, users, datasets, datasets_bytes
--@ arguments: dataset
--@ result: DELETED | IN_USE | MISSING
--@ uses: hashes, indexes, readable
--@ when full: yes
-- Deletes a data set that no experiment needs any more.
if redis.call('EXISTS', dataset_hash) == 0 then return 'MISSING' end
local bytes = redis.call('HGET', dataset_hash, 'bytes')
if redis.call('SCARD', users) > 0 then return 'IN_USE' end
unlist(datasets, dataset, dataset_hash)
redis.call('DEL', dataset_hash, x, y)
readable(redis.call, 'DECRBY', datasets_bytes, whole(bytes))
return 'DELETED'
