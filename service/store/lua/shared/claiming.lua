--@ uses: lease

-- Cuts the history back to the checkpoint: later steps are made again.
local function cut_back(checkpoint)
  for _, name in ipairs(all_series) do
    local series = key.series(id, name)
    local length = tonumber(redis.call('HGET', checkpoint, 'bytes:' .. name) or '0')
    if length == 0 then
      redis.call('DEL', series)
    elseif redis.call('STRLEN', series) > length then
      redis.call('SET', series, redis.call('GETRANGE', series, 0, length - 1))
    end
  end
  local kept = redis.call('HMGET', checkpoint, 'step', 'epoch', 'outcome', 'timing')
  redis.call('HSET', record, 'step', kept[1], 'epoch', kept[2], 'outcome', kept[3], 'timing', kept[4])
  return tonumber(kept[1])
end

-- Gives the run to a trainer; the number of the attempt, or 0 where the run is not queued.
local function claim(device, trainer, lease, format)
  if redis.call('HGET', record, 'status') ~= 'queued' then return 0 end
  local before, checkpoint = redis.call('HMGET', record, 'claimed_at', 'step'), key.checkpoint(id)
  local kept, step, since, at = redis.call('HMGET', checkpoint, 'format', 'at'), 0, before[1], now()
  -- The first write, because a full server refuses this one and would allow a deletion.
  redis.call('HSETNX', record, 'started_at', at)
  if kept[1] == format then
    step, since = cut_back(checkpoint), kept[2]
  else
    drop_history()
  end
  if since then
    redis.call('HINCRBYFLOAT', record, 'resume_s', string.format('%.6f', at - since))
    redis.call('HINCRBY', record, 'repeated_steps', tonumber(before[2] or '0') - step)
  end
  move('queued', 'running')
  redis.call('HSET', record, 'claimed_at', at, 'device', device, 'trainer', trainer)
  redis.call('HINCRBY', record, 'attempts_without_progress', 1)
  prolong(lease)
  return redis.call('HINCRBY', record, 'attempts', 1)
end
