"""The server-side scripts of `service.contract.store`: each is one atomic change of one experiment.

Every script gets the key prefix and the experiment id as its first two arguments; the clock is the server's, so
that the clocks of workers and of the API never matter.
"""

_PRELUDE = """
local prefix, id = ARGV[1], ARGV[2]
local record = prefix .. ':{' .. id .. '}:record'
local all_series = {'gradient_norm', 'step_loss', 'epochs'}
local function series(name) return prefix .. ':{' .. id .. '}:' .. name end
local function by_status(status) return prefix .. ':experiments:status:' .. status end
local function by_tag(tag) return prefix .. ':experiments:tag:' .. tag end
local function now()
  local time = redis.call('TIME')
  return string.format('%d.%06d', time[1], time[2])
end
local function move(from, to)
  redis.call('ZREM', by_status(from), id)
  redis.call('ZADD', by_status(to), 0, id)
  redis.call('HSET', record, 'status', to)
end
local function drop_history()
  for _, name in ipairs(all_series) do redis.call('DEL', series(name)) end
  redis.call('HDEL', record, 'step', 'epoch', 'outcome', 'timing', 'error')
end
"""

# ARGV: spec, warnings, tag… -> 1, or 0 where the id is taken.
CREATE = (
    _PRELUDE
    + """
if redis.call('EXISTS', record) == 1 then return 0 end
redis.call('HSET', record, 'status', 'queued', 'spec', ARGV[3], 'warnings', ARGV[4], 'created_at', now())
redis.call('ZADD', prefix .. ':experiments', 0, id)
redis.call('ZADD', by_status('queued'), 0, id)
for i = 5, #ARGV do redis.call('ZADD', by_tag(ARGV[i]), 0, id) end
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
