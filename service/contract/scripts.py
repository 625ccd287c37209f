"""The server-side scripts of `service.contract.store`: each is one atomic change of one experiment.

Every script gets the key prefix and the experiment id as its first two arguments; the clock is the server's, so
that the clocks of workers and of the API never matter.
"""

from service.contract.history import SERIES

_NAMES = ", ".join(f"'{name}'" for name in SERIES)

PRELUDE = (
    f"local all_series = {{{_NAMES}}}"
    """
local prefix, id = ARGV[1], ARGV[2]
local record = prefix .. ':{' .. id .. '}:record'
local function take(chosen) id, record = chosen, prefix .. ':{' .. chosen .. '}:record' end
local function by_study(study) return prefix .. ':experiments:study:' .. study end
local function series(name) return prefix .. ':{' .. id .. '}:' .. name end
local function dataset(part, of) return prefix .. ':{' .. of .. '}:' .. part end
local function by_status(status) return prefix .. ':experiments:status:' .. status end
local function by_tag(tag) return prefix .. ':experiments:tag:' .. tag end
local function now()
  local time = redis.call('TIME')
  return string.format('%d.%06d', time[1], time[2])
end
local function release()
  local used = redis.call('HGET', record, 'dataset')
  if used then redis.call('SREM', dataset('users', used), id) end
end
local queued_singles, architectures = prefix .. ':queued', prefix .. ':queued:architectures'
local function queued_of(architecture) return prefix .. ':queued:' .. architecture end
local function enqueue()
  local of = redis.call('HMGET', record, 'study', 'architecture')
  if of[1] then
    redis.call('ZADD', queued_of(of[2]), 0, id)
    redis.call('ZADD', architectures, 'NX', now(), of[2])
  else
    redis.call('ZADD', queued_singles, 0, id)
  end
end
local function dequeue()
  local of = redis.call('HMGET', record, 'study', 'architecture')
  if of[1] then
    redis.call('ZREM', queued_of(of[2]), id)
    if redis.call('EXISTS', queued_of(of[2])) == 0 then redis.call('ZREM', architectures, of[2]) end
  else
    redis.call('ZREM', queued_singles, id)
  end
end
local function move(from, to)
  if from == 'queued' then dequeue() end
  if to == 'queued' then enqueue() end
  if to ~= 'queued' and to ~= 'running' then release() end
  redis.call('ZREM', by_status(from), id)
  redis.call('ZADD', by_status(to), 0, id)
  redis.call('HSET', record, 'status', to)
end
local function drop_history()
  for _, name in ipairs(all_series) do redis.call('DEL', series(name)) end
  redis.call('DEL', series('model'))
  redis.call('HDEL', record, 'step', 'epoch', 'outcome', 'timing', 'error')
end
"""
)

CREATING = """
local function create(spec, warnings, shape, used, architecture, steps, created_at)
  if used ~= '' then
    redis.call('SADD', dataset('users', used), id)
    redis.call('HSET', record, 'dataset', used)
  end
  redis.call('HSET', record, 'status', 'queued', 'spec', spec, 'warnings', warnings, 'shape', shape)
  redis.call('HSET', record, 'architecture', architecture, 'steps', steps, 'created_at', created_at)
  redis.call('ZADD', prefix .. ':experiments', 0, id)
  redis.call('ZADD', by_status('queued'), 0, id)
  enqueue()
end
"""

# ARGV: spec, warnings, shape, data set or '', architecture or '', steps, tag… -> when it was made; 0 where the id is
# taken, -1 where there is no such data set.
CREATE = (
    PRELUDE
    + CREATING
    + """
if redis.call('EXISTS', record) == 1 then return 0 end
if ARGV[6] ~= '' and redis.call('EXISTS', dataset('dataset', ARGV[6])) == 0 then return -1 end
local created_at = now()
create(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], created_at)
for i = 9, #ARGV do redis.call('ZADD', by_tag(ARGV[i]), 0, id) end
return created_at
"""
)

_CLAIM = """
local function claim(device, trainer)
  if redis.call('HGET', record, 'status') ~= 'queued' then return 0 end
  drop_history()
  move('queued', 'running')
  redis.call('HSET', record, 'started_at', now(), 'device', device, 'trainer', trainer)
  return redis.call('HINCRBY', record, 'attempts', 1)
end
"""

# ARGV: device, trainer -> the attempt's number, or 0 where somebody else has the run or it has ended.
CLAIM = PRELUDE + _CLAIM + "return claim(ARGV[3], ARGV[4])"

# The id is '' and chosen here. ARGV: device, trainer, steps that are worth compiling for, then the architectures that
# the trainer has programs of -> id and number of the attempt, or false where there is nothing to take. Single
# experiments go first, the oldest before all; then runs of studies of an architecture that the trainer has compiled, of
# the one that has waited longest among those that nobody is at (of several, as of one study: the one whose run is the
# oldest), and at last of the one with most steps to make. That one is left to who is at it where both what waits and
# what is being trained are short. What an earlier version has queued is in none of these indexes.
CLAIM_NEXT = (
    PRELUDE
    + _CLAIM
    + """
local function first(index) return redis.call('ZRANGE', index, 0, 0)[1] end
local function choose()
  local single = first(queued_singles)
  if single then return single end
  for i = 6, #ARGV do
    local known = first(queued_of(ARGV[i]))
    if known then return known end
  end
  local waiting = redis.call('ZRANGE', architectures, 0, -1, 'WITHSCORES')
  if #waiting == 0 then return first(by_status('queued')) end
  local busy = {}  -- steps until the first who is at an architecture has ended its run
  for _, running in ipairs(redis.call('ZRANGE', by_status('running'), 0, -1)) do
    local of = redis.call('HMGET', prefix .. ':{' .. running .. '}:record', 'architecture', 'steps', 'step')
    if of[1] then
      local left = tonumber(of[2]) - tonumber(of[3] or '0')
      busy[of[1]] = math.min(busy[of[1]] or left, left)
    end
  end
  local worth, most, free, since, joined = tonumber(ARGV[5]), -1, false, false, false
  for i = 1, #waiting, 2 do
    local architecture = waiting[i]
    if since and waiting[i + 1] ~= since then break end
    local oldest = first(queued_of(architecture))
    if not busy[architecture] then
      if not free or oldest < free then free, since = oldest, waiting[i + 1] end
    else
      local steps = redis.call('HGET', prefix .. ':{' .. oldest .. '}:record', 'steps')
      local left = redis.call('ZCARD', queued_of(architecture)) * tonumber(steps)
      if left > most and (left >= worth or busy[architecture] >= worth) then most, joined = left, oldest end
    end
  end
  return free or joined
end
local chosen = choose()
if not chosen then return false end
take(chosen)
return {id, claim(ARGV[3], ARGV[4])}
"""
)

# ARGV: attempt, step, epoch, outcome, (series, bytes already there, bytes to add)… -> -1 where the attempt or the
# length is stale, else 1 where a cancel was asked for, else 0. The client retries a write whose answer was lost:
# lengths that are already those after the write answer as the first time.
APPEND = (
    PRELUDE
    + """
local state = redis.call('HMGET', record, 'status', 'attempts', 'cancel_requested')
if state[1] ~= 'running' or state[2] ~= ARGV[3] then return -1 end
local repeated = redis.call('HGET', record, 'step') == ARGV[4]
for i = 7, #ARGV, 3 do
  local expected = tonumber(ARGV[i + 1]) + (repeated and #ARGV[i + 2] or 0)
  if redis.call('STRLEN', series(ARGV[i])) ~= expected then return -1 end
end
if not repeated then
  for i = 7, #ARGV, 3 do redis.call('APPEND', series(ARGV[i]), ARGV[i + 2]) end
  redis.call('HSET', record, 'step', ARGV[4], 'epoch', ARGV[5], 'outcome', ARGV[6])
end
return state[3] == '1' and 1 or 0
"""
)

# ARGV: attempt, status, error or '', outcome, timing -> 1, or 0 where the attempt is stale. Appending leaves a
# string up to twice as large as its content; the copy is exact.
FINISH = (
    PRELUDE
    + """
local state = redis.call('HMGET', record, 'status', 'attempts')
if state[2] ~= ARGV[3] then return 0 end
if state[1] == ARGV[4] then return 1 end
if state[1] ~= 'running' then return 0 end
move('running', ARGV[4])
redis.call('HSET', record, 'outcome', ARGV[6], 'timing', ARGV[7], 'finished_at', now())
if ARGV[5] ~= '' then redis.call('HSET', record, 'error', ARGV[5]) end
for _, name in ipairs(all_series) do
  if redis.call('COPY', series(name), series('exact'), 'REPLACE') == 1 then
    redis.call('RENAME', series('exact'), series(name))
  end
end
return 1
"""
)

CANCELLING = """
local function cancel()
  local status = redis.call('HGET', record, 'status')
  if status == 'queued' then
    move('queued', 'cancelled')
    redis.call('HSET', record, 'cancel_requested', '1', 'finished_at', now())
    return 'cancelled'
  end
  if status == 'running' then redis.call('HSET', record, 'cancel_requested', '1') end
  return status
end
"""

# -> the status after it, or false where there is no such experiment.
CANCEL = PRELUDE + CANCELLING + "return cancel()"

DELETING = """
local function delete(status, first_tag)
  local study = redis.call('HGET', record, 'study')
  if study then redis.call('ZREM', by_study(study), id) end
  release()
  if status == 'queued' then dequeue() end
  redis.call('ZREM', prefix .. ':experiments', id)
  redis.call('ZREM', by_status(status), id)
  for i = first_tag, #ARGV do redis.call('ZREM', by_tag(ARGV[i]), id) end
  drop_history()
  redis.call('DEL', record)
end
"""

# ARGV: tag… -> 1, 0 where it still runs, -1 where there is no such experiment.
DELETE = (
    PRELUDE
    + DELETING
    + """
local status = redis.call('HGET', record, 'status')
if not status then return -1 end
if status == 'running' then return 0 end
delete(status, 3)
return 1
"""
)

# -> 1 where a running experiment is queued again, from its first step, or ended because a cancel had been asked for.
REQUEUE = (
    PRELUDE
    + """
local state = redis.call('HMGET', record, 'status', 'cancel_requested')
if state[1] ~= 'running' then return 0 end
if state[2] == '1' then
  move('running', 'cancelled')
  redis.call('HSET', record, 'finished_at', now())
else
  drop_history()
  move('running', 'queued')
end
return 1
"""
)

# ARGV: attempt, bytes -> 1, or 0 where the attempt is stale.
KEEP_MODEL = (
    PRELUDE
    + """
local state = redis.call('HMGET', record, 'status', 'attempts')
if state[1] ~= 'running' or state[2] ~= ARGV[3] then return 0 end
redis.call('SET', series('model'), ARGV[4])
return 1
"""
)

# For these the id is a data set's. ARGV: description, bytes of its arrays, most bytes of all -> 1, or 0 where there
# would be too many. The arrays were written before, to expire: nothing of a refused data set stays.
ADD_DATASET = (
    PRELUDE
    + """
local total = prefix .. ':datasets:bytes'
if tonumber(redis.call('GET', total) or '0') + tonumber(ARGV[4]) > tonumber(ARGV[5]) then
  redis.call('DEL', dataset('x', id), dataset('y', id))
  return 0
end
redis.call('HSET', dataset('dataset', id), 'description', ARGV[3], 'bytes', ARGV[4], 'created_at', now())
redis.call('PERSIST', dataset('x', id))
redis.call('PERSIST', dataset('y', id))
redis.call('INCRBY', total, ARGV[4])
redis.call('ZADD', prefix .. ':datasets', 0, id)
return 1
"""
)

# -> 1, 0 where an experiment that has not ended uses it, -1 where there is no such data set.
DELETE_DATASET = (
    PRELUDE
    + """
local bytes = redis.call('HGET', dataset('dataset', id), 'bytes')
if not bytes then return -1 end
if redis.call('SCARD', dataset('users', id)) > 0 then return 0 end
redis.call('DEL', dataset('dataset', id), dataset('x', id), dataset('y', id))
redis.call('DECRBY', prefix .. ':datasets:bytes', bytes)
redis.call('ZREM', prefix .. ':datasets', id)
return 1
"""
)
