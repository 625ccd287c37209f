-- Indexes: sorted sets of ids, one for all tenants and one for each.

-- An index, and the part of it that belongs to the tenant that the hash names.
local function with_tenants_part(index, hash)
  local tenant = redis.call('HGET', hash, 'tenant')
  return tenant and {index, key.of_tenant(tenant, string.sub(index, #prefix + 1))} or {index}
end
local function list(index, member, hash)
  for _, found in ipairs(with_tenants_part(index, hash)) do redis.call('ZADD', found, 0, member) end
end
local function unlist(index, member, hash)
  for _, found in ipairs(with_tenants_part(index, hash)) do redis.call('ZREM', found, member) end
end
local function set_tenant(tenant, hash)
  if tenant ~= '' then redis.call('HSET', hash, 'tenant', tenant) end
end
