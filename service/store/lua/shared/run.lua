--@ uses: hashes, indexes, readable
-- The life of one experiment. The functions change the experiment `id`, whose hash is `record`.

local id, record
local function select_run(chosen) id, record = chosen, key.record(chosen) end

-- A number or a set that is damaged must not keep a run from ending or from being deleted.
local function release_reservation()
  local fields = redis.call('HMGET', record, 'dataset', 'reserved')
  if fields[1] then readable(redis.call, 'SREM', key.users(fields[1]), id) end
  if fields[2] then
    local is_number, left = readable(redis.call, 'DECRBY', key.reserved, whole(fields[2]))
    if is_number and left <= 0 then redis.call('DEL', key.reserved) end
    redis.call('HDEL', record, 'reserved')
  end
end

local function enqueue()
  local fields = redis.call('HMGET', record, 'study', 'architecture')
  if fields[1] then
    redis.call('ZADD', key.queued_runs(fields[2]), 0, id)
    redis.call('ZADD', key.queued_architectures, 'NX', now(), fields[2])
  else
    redis.call('ZADD', key.queued_singles, 0, id)
  end
end

local function dequeue()
  local fields = redis.call('HMGET', record, 'study', 'architecture')
  if fields[1] then
    local queue = key.queued_runs(fields[2])
    redis.call('ZREM', queue, id)
    if redis.call('EXISTS', queue) == 0 then redis.call('ZREM', key.queued_architectures, fields[2]) end
  else
    redis.call('ZREM', key.queued_singles, id)
  end
end

local function move(from, to)
  if from == 'queued' then dequeue() end
  if to == 'queued' then enqueue() end
  if from == 'running' then redis.call('ZREM', key.leases, id) end
  if to ~= 'queued' and to ~= 'running' then
    release_reservation()
    redis.call('DEL', key.checkpoint(id))
    redis.call('HDEL', record, 'attempts_without_progress')
    redis.call('HSET', record, 'finished_at', now())
    redis.call('ZADD', key.ended, now(), id)
  end
  unlist(key.with_status(from), id, record)
  list(key.with_status(to), id, record)
  redis.call('HSET', record, 'status', to)
end

local function drop_history()
  for _, name in ipairs(all_series) do redis.call('DEL', key.series(id, name)) end
  redis.call('DEL', key.model(id), key.checkpoint(id))
  redis.call('HDEL', record, 'step', 'epoch', 'outcome', 'timing', 'error')
end
