"""The server-side scripts of `service.contract.store`: each is one atomic change of one experiment.

Every script gets the key prefix and the experiment id as its first two arguments; the clock is the server's, so
that the clocks of workers and of the API never matter.
"""

from service.contract.history import SERIES

_NAMES = ", ".join(f"'{name}'" for name in SERIES)

_PRELUDE = (
    f"local all_series = {{{_NAMES}}}"
    """
local prefix, id = ARGV[1], ARGV[2]
local record = prefix .. ':{' .. id .. '}:record'
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
local function move(from, to)
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

# ARGV: spec, warnings, shape, data set or '', tag… -> 1, 0 where the id is taken, -1 where there is no such data set.
CREATE = (
    _PRELUDE
    + """
if redis.call('EXISTS', record) == 1 then return 0 end
if ARGV[6] ~= '' then
  if redis.call('EXISTS', dataset('dataset', ARGV[6])) == 0 then return -1 end
  redis.call('SADD', dataset('users', ARGV[6]), id)
  redis.call('HSET', record, 'dataset', ARGV[6])
end
redis.call('HSET', record, 'status', 'queued', 'spec', ARGV[3], 'warnings', ARGV[4], 'shape', ARGV[5])
redis.call('HSET', record, 'created_at', now())
redis.call('ZADD', prefix .. ':experiments', 0, id)
redis.call('ZADD', by_status('queued'), 0, id)
for i = 7, #ARGV do redis.call('ZADD', by_tag(ARGV[i]), 0, id) end
return 1
"""
)

# ARGV: device -> the attempt's number, or 0 where somebody else has the run or it has ended.
CLAIM = (
    _PRELUDE
    + """
if redis.call('HGET', record, 'status') ~= 'queued' then return 0 end
drop_history()
move('queued', 'running')
redis.call('HSET', record, 'started_at', now(), 'device', ARGV[3])
return redis.call('HINCRBY', record, 'attempts', 1)
"""
)

# ARGV: attempt, step, epoch, outcome, (series, bytes already there, bytes to add)… -> -1 where the attempt or the
# length is stale, else 1 where a cancel was asked for, else 0. The client retries a write whose answer was lost:
# lengths that are already those after the write answer as the first time.
APPEND = (
    _PRELUDE
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
    _PRELUDE
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

# -> the status after it, or false where there is no such experiment.
CANCEL = (
    _PRELUDE
    + """
local status = redis.call('HGET', record, 'status')
if status == 'queued' then
  move('queued', 'cancelled')
  redis.call('HSET', record, 'cancel_requested', '1', 'finished_at', now())
  return 'cancelled'
end
if status == 'running' then redis.call('HSET', record, 'cancel_requested', '1') end
return status
"""
)

# ARGV: tag… -> 1, 0 where it still runs, -1 where there is no such experiment.
DELETE = (
    _PRELUDE
    + """
local status = redis.call('HGET', record, 'status')
if not status then return -1 end
if status == 'running' then return 0 end
release()
redis.call('ZREM', prefix .. ':experiments', id)
redis.call('ZREM', by_status(status), id)
for i = 3, #ARGV do redis.call('ZREM', by_tag(ARGV[i]), id) end
drop_history()
redis.call('DEL', record)
return 1
"""
)

# -> 1 where a running experiment is queued again, from its first step, or ended because a cancel had been asked for.
REQUEUE = (
    _PRELUDE
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
    _PRELUDE
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
    _PRELUDE
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
    _PRELUDE
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
