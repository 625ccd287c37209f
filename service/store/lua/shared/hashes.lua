-- Reading and rewriting hashes.

local statuses = {'queued', 'running', 'succeeded', 'failed', 'cancelled'}

local function is_known(status)
  for _, known in ipairs(statuses) do
    if status == known then return true end
  end
  return false
end

-- A whole number that is not negative and has at most 18 digits, so that Redis can calculate with it, as text; '0' for
-- a damaged one.
local function whole(text)
  local digits = string.match(text or '', '^%d+$')
  return digits and #digits <= 18 and digits or '0'
end

-- Fields of a hash; none where the key is damaged and holds something else.
local function fields_of(hash, ...)
  local found = redis.pcall('HMGET', hash, ...)
  return found.err and {} or found
end

-- WAITAOF covers only the writes of its own connection, so a repeated request rewrites one field.
local function rewrite(hash, field) redis.call('HSET', hash, field, redis.call('HGET', hash, field)) end
