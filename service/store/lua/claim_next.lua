--@ arguments: device, trainer, lease, format, join_from_steps
--@ rest: compiled
--@ uses: claiming, damage
-- Gives a trainer the run that is best claimed next. `format` is that of the checkpoints that it reads; `compiled` are
-- the architectures of which it has programs, most recently used first. It is claimed:
--
-- 1. the oldest queued single experiment;
-- 2. else the oldest run of the first architecture in `compiled` of which a run is queued;
-- 3. else, among architectures that no trainer is training, the oldest run of the one that has waited longest (of
--    several that began to wait at once, of the one whose oldest run is the oldest);
-- 4. else the oldest run of the architecture with most steps queued, if these, or those until its first trainer
--    becomes idle, are at least `join_from_steps`: as many steps as compiling another program costs;
-- 5. else nothing: the trainer that has the program continues sooner.
--
-- Returns the id and the number of the attempt, or '' and 0, and the ids of damaged runs that were failed on the way.
-- The script chooses the run itself, so its keys are derived here and cannot be declared.
local function first(index) return redis.call('ZRANGE', index, 0, 0)[1] end

-- Steps until the first trainer of each architecture becomes idle.
local function steps_until_idle()
  local found = {}
  for _, running in ipairs(redis.call('ZRANGE', key.with_status('running'), 0, -1)) do
    local fields = fields_of(key.record(running), 'architecture', 'steps', 'step')
    if fields[1] then
      local left = (tonumber(fields[2]) or 0) - (tonumber(fields[3]) or 0)
      found[fields[1]] = math.min(found[fields[1]] or left, left)
    end
  end
  return found
end

local function choose()
  local single = first(key.queued_singles)
  if single then return single end
  for i = compiled_start, #ARGV do
    local run = first(key.queued_runs(ARGV[i]))
    if run then return run end
  end
  local waiting = redis.call('ZRANGE', key.queued_architectures, 0, -1, 'WITHSCORES')
  if #waiting == 0 then return nil end
  local busy, worth = steps_until_idle(), tonumber(join_from_steps)
  local most, untrained, since, joined = -1, nil, nil, nil
  for i = 1, #waiting, 2 do
    local architecture, waits_since = waiting[i], waiting[i + 1]
    if since and waits_since ~= since then break end
    local oldest = first(key.queued_runs(architecture))
    if not busy[architecture] then
      if not untrained or oldest < untrained then untrained, since = oldest, waits_since end
    else
      local steps = tonumber(fields_of(key.record(oldest), 'steps')[1]) or 0
      local queued = redis.call('ZCARD', key.queued_runs(architecture)) * steps
      if queued > most and (queued >= worth or busy[architecture] >= worth) then most, joined = queued, oldest end
    end
  end
  return untrained or joined
end

local damaged = {}
for _ = 1, 100 do
  local chosen = choose()
  if not chosen then break end
  select_run(chosen)
  local is_readable, attempt = readable(claim, device, trainer, lease, format)
  if is_readable and attempt > 0 then return {id, attempt, damaged} end
  if is_readable and is_known(fields_of(record, 'status')[1]) then
    dequeue_everywhere()  -- only its entry in the queue was left
  else
    set_aside()
    damaged[#damaged + 1] = id
  end
end
return {'', 0, damaged}
