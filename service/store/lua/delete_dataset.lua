--@ keys: dataset_hash, x, y, users, datasets, datasets_bytes
--@ arguments: dataset
--@ result: DELETED | IN_USE | MISSING
--@ uses: indexes, measuring
--@ when full: yes
-- Deletes a data set that no experiment needs any more.
if redis.call('EXISTS', dataset_hash) == 0 then return 'MISSING' end
local bytes = bytes_of_dataset(dataset_hash, x, y)
if redis.call('SCARD', users) > 0 then return 'IN_USE' end
unlist(datasets, dataset, dataset_hash)
redis.call('DEL', dataset_hash, x, y)
readable(redis.call, 'DECRBY', datasets_bytes, bytes)
return 'DELETED'
