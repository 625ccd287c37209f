--@ uses: hashes, readable

-- The bytes of a data set, from its arrays where its hash does not say them; '0' where both are damaged.
local function bytes_of_dataset(hash, x, y)
  local stated = fields_of(hash, 'bytes')[1]
  if whole(stated) == stated then return stated end
  local measured, bytes = readable(function() return redis.call('STRLEN', x) + redis.call('STRLEN', y) end)
  return measured and bytes or '0'
end
