--@ keys: record, migration
--@ arguments: id, token, shape
--@ result: DONE | DAMAGED | LOCK_LOST
--@ uses: run, damage
--@ schema: any
--@ when full: yes
-- Brings one experiment of version 0 to version 1. Repeating it changes nothing. `shape` is that of its data, for a
-- record that has none.
if redis.call('GET', migration) ~= token then return 'LOCK_LOST' end
local function migrate()
  if shape ~= '' then redis.call('HSETNX', record, 'shape', shape) end
  redis.call('HSETNX', record, 'warnings', '[]')
  for old, new in pairs({promised = 'reserved', fruitless = 'attempts_without_progress'}) do
    local value = redis.call('HGET', record, old)
    if value then
      redis.call('HSET', record, new, value)
      redis.call('HDEL', record, old)
    end
  end
  local status = redis.call('HGET', record, 'status')
  if not is_known(status) then error('unknown status') end  -- after the renaming: a deletion releases `reserved`
  if redis.call('HEXISTS', record, 'study') == 1 then redis.call('HSETNX', record, 'architecture', '') end
  if status == 'queued' then
    enqueue()
  elseif status == 'running' then
    redis.call('ZADD', key.leases, 'NX', now(), id)
  else
    redis.call('ZADD', key.ended, 'NX', redis.call('HGET', record, 'finished_at') or now(), id)
  end
end
return readable(migrate) and 'DONE' or 'DAMAGED'
