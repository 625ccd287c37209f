"""The server-side scripts of `service.store.attempts`: who has a run, and what it may write.

A run that is claimed has a lease in the sorted set `gradflow:leases`, by the time at which it ends unless it is
prolonged. The number of the attempt is the fencing token.
"""

from service.store.scripts import DELETING, DISCARD, PRELUDE, PRELUDE_ALSO_IF_FULL

__all__ = ["DISCARD", "MOST_FRUITLESS"]

MOST_FRUITLESS = 10  # attempts in a row that come no further than the one before
_LOST = f"{MOST_FRUITLESS} training processes in a row died before they came further: killed, or out of memory"
_DAMAGED = "the record of this experiment is damaged: a trainer or a sweep could not read it"

_LEASES = (
    f"local most_fruitless, lost, damaged = {MOST_FRUITLESS}, '{_LOST}', '{_DAMAGED}'"
    """
local function hold(lease) redis.call('ZADD', leases, now() + lease, id) end
local function may_write(attempt)
  local state = redis.call('HMGET', record, 'status', 'attempts')
  return state[1] == 'running' and state[2] == attempt
end
local function give_up()
  local state = redis.call('HMGET', record, 'cancel_requested', 'fruitless')
  if state[1] == '1' then
    move('running', 'cancelled')
  elseif tonumber(state[2] or '0') >= most_fruitless then  -- raises where that is no number
    move('running', 'failed')
    redis.call('HSET', record, 'error', lost)
  else
    move('running', 'queued')
    redis.call('HDEL', record, 'device', 'trainer')
    redis.call('DEL', series('model'))
  end
end
-- Whether a change was made, and its result; false where the record is damaged. Other errors are raised again: a server
-- that is full or takes no writes says nothing about a record.
local function readable(change)
  local made, result = pcall(change)
  if made then return true, result end
  local text = type(result) == 'table' and result.err or tostring(result)
  local code = string.match(text, '^(%u+) ')
  if code and code ~= 'ERR' and code ~= 'WRONGTYPE' then error({err = text}) end
  return false
end
local function dequeue_everywhere()
  redis.call('ZREM', queued_singles, id)
  for _, architecture in ipairs(redis.call('ZRANGE', architectures, 0, -1)) do
    redis.call('ZREM', queued_of(architecture), id)
    if redis.call('EXISTS', queued_of(architecture)) == 0 then redis.call('ZREM', architectures, architecture) end
  end
end
-- Fail a damaged record, so that no trainer and no sweep meets it again. Only the tenant is read from it.
local function set_aside()
  redis.call('ZREM', leases, id)
  dequeue_everywhere()
  for _, status in ipairs(statuses) do redis.call('ZREM', by_status(status), id) end
  if redis.call('TYPE', record).ok ~= 'hash' then return end
  for _, status in ipairs(statuses) do unlist(by_status(status)) end
  let_go()
  redis.call('HSET', record, 'status', 'failed', 'error', damaged, 'finished_at', now())
  redis.call('ZADD', ended, now(), id)
  list(by_status('failed'))
end
"""
)

# A history goes on from where the checkpoint was made: what lies behind is cut off, and will be made again.
_CLAIM = """
local function cut_back(checkpoint)
  for _, name in ipairs(all_series) do
    local length = tonumber(redis.call('HGET', checkpoint, 'bytes:' .. name) or '0')
    if length == 0 then
      redis.call('DEL', series(name))
    elseif redis.call('STRLEN', series(name)) > length then
      redis.call('SET', series(name), redis.call('GETRANGE', series(name), 0, length - 1))
    end
  end
  local kept = redis.call('HMGET', checkpoint, 'step', 'epoch', 'outcome', 'timing')
  redis.call('HSET', record, 'step', kept[1], 'epoch', kept[2], 'outcome', kept[3], 'timing', kept[4])
  return tonumber(kept[1])
end
local function claim(device, trainer, lease, format)
  if redis.call('HGET', record, 'status') ~= 'queued' then return 0 end
  local before, checkpoint = redis.call('HMGET', record, 'claimed_at', 'step'), series('checkpoint')
  local kept, step, since, at = redis.call('HMGET', checkpoint, 'format', 'at'), 0, before[1], now()
  redis.call('HSETNX', record, 'started_at', at)  -- the first write: refused in a full server, as a deletion is not
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
  redis.call('HINCRBY', record, 'fruitless', 1)
  hold(lease)
  return redis.call('HINCRBY', record, 'attempts', 1)
end
"""

# ARGV: device, trainer, lease, format of checkpoints that it can read -> the attempt's number, or 0 where somebody else
# has the run or it has ended.
CLAIM = PRELUDE + _LEASES + _CLAIM + "return claim(ARGV[3], ARGV[4], ARGV[5], ARGV[6])"

# The id is '' and chosen here. ARGV: device, trainer, lease, format, steps that are worth compiling for, then the
# architectures that the trainer has programs of -> id and number of the attempt, or '' and 0 where there is nothing to
# take; then a list of the damaged runs that were met and failed. Single experiments go first, the oldest before all;
# then runs of studies of an architecture that the trainer has compiled, of the one that has waited longest among those
# that nobody is at (of several, as of one study: the one whose run is the oldest), and at last of the one with most
# steps to make. That one is left to who is at it where both what waits and what is being trained are short. What an
# earlier version has queued is in none of these indexes.
CLAIM_NEXT = (
    PRELUDE
    + _LEASES
    + _CLAIM
    + """
local function first(index) return redis.call('ZRANGE', index, 0, 0)[1] end
local function choose()
  local single = first(queued_singles)
  if single then return single end
  for i = 8, #ARGV do
    local known = first(queued_of(ARGV[i]))
    if known then return known end
  end
  local waiting = redis.call('ZRANGE', architectures, 0, -1, 'WITHSCORES')
  if #waiting == 0 then return first(by_status('queued')) end
  local busy = {}  -- steps until the first who is at an architecture has ended its run
  for _, running in ipairs(redis.call('ZRANGE', by_status('running'), 0, -1)) do
    local of = fields_of(running, 'architecture', 'steps', 'step')
    if of[1] then
      local left = (tonumber(of[2]) or 0) - (tonumber(of[3]) or 0)
      busy[of[1]] = math.min(busy[of[1]] or left, left)
    end
  end
  local worth, most, free, since, joined = tonumber(ARGV[7]), -1, false, false, false
  for i = 1, #waiting, 2 do
    local architecture = waiting[i]
    if since and waiting[i + 1] ~= since then break end
    local oldest = first(queued_of(architecture))
    if not busy[architecture] then
      if not free or oldest < free then free, since = oldest, waiting[i + 1] end
    else
      local steps = tonumber(fields_of(oldest, 'steps')[1]) or 0
      local left = redis.call('ZCARD', queued_of(architecture)) * steps
      if left > most and (left >= worth or busy[architecture] >= worth) then most, joined = left, oldest end
    end
  end
  return free or joined
end
local aside = {}
for _ = 1, 100 do
  local chosen = choose()
  if not chosen then break end
  take(chosen)
  local read, attempt = readable(function() return claim(ARGV[3], ARGV[4], ARGV[5], ARGV[6]) end)
  if read and attempt > 0 then return {id, attempt, aside} end
  if is_known(fields_of(id, 'status')[1]) and read then
    dequeue_everywhere()  -- only its entry in the queue was left
  else
    set_aside()
    aside[#aside + 1] = id
  end
end
return {'', 0, aside}
"""
)

# ARGV: attempt, lease, step, epoch, outcome, timing, format and state of a checkpoint or '', (series, bytes already
# there, bytes to add)… -> -1 where the attempt or the length is stale, else 1 where a cancel was asked for, else 0. The
# client retries a write whose answer was lost: lengths that are already those after the write answer as the first time.
APPEND = (
    PRELUDE
    + _LEASES
    + """
if not may_write(ARGV[3]) then return -1 end
local first, checkpoint = 11, series('checkpoint')
local repeated = redis.call('HGET', record, 'step') == ARGV[5]
for i = first, #ARGV, 3 do
  local expected = tonumber(ARGV[i + 1]) + (repeated and #ARGV[i + 2] or 0)
  if redis.call('STRLEN', series(ARGV[i])) ~= expected then return -1 end
end
if not repeated then
  for i = first, #ARGV, 3 do redis.call('APPEND', series(ARGV[i]), ARGV[i + 2]) end
  redis.call('HSET', record, 'step', ARGV[5], 'epoch', ARGV[6], 'outcome', ARGV[7], 'timing', ARGV[8])
end
if ARGV[10] ~= '' then
  redis.call('DEL', checkpoint)
  redis.call('HSET', checkpoint, 'format', ARGV[9], 'state', ARGV[10], 'step', ARGV[5], 'epoch', ARGV[6],
    'outcome', ARGV[7], 'timing', ARGV[8], 'at', now())
  for _, name in ipairs(all_series) do
    local length = redis.call('STRLEN', series(name))
    if length > 0 then redis.call('HSET', checkpoint, 'bytes:' .. name, length) end
  end
  redis.call('HDEL', record, 'fruitless')
end
hold(ARGV[4])
return redis.call('HGET', record, 'cancel_requested') == '1' and 1 or 0
"""
)

# ARGV: attempt, lease -> -1 where the attempt is stale, else 1 where a cancel was asked for, else 0.
HOLD = (
    PRELUDE_ALSO_IF_FULL
    + _LEASES
    + """
if not may_write(ARGV[3]) then return -1 end
hold(ARGV[4])
return redis.call('HGET', record, 'cancel_requested') == '1' and 1 or 0
"""
)

# For a run that finds no room for what it must write. ARGV: attempt -> whether there was a checkpoint to give up, or -1
# where the attempt is stale: also where a cancel was asked for, and the run ends here.
MAKE_ROOM = (
    PRELUDE_ALSO_IF_FULL
    + _LEASES
    + """
if not may_write(ARGV[3]) then return -1 end
if redis.call('HGET', record, 'cancel_requested') == '1' then
  give_up()
  return -1
end
return redis.call('DEL', series('checkpoint'))
"""
)

# ARGV: attempt, bytes -> 1, or 0 where the attempt is stale.
KEEP_MODEL = (
    PRELUDE
    + _LEASES
    + """
if not may_write(ARGV[3]) then return 0 end
redis.call('SET', series('model'), ARGV[4])
return 1
"""
)

# ARGV: attempt, status, error or '', outcome, timing -> 1, or 0 where the attempt is stale. Appending leaves a
# string up to twice as large as its content; the copy is exact.
FINISH = (
    PRELUDE
    + """
local state = redis.call('HMGET', record, 'status', 'attempts')
if state[2] ~= ARGV[3] then return 0 end
if state[1] == ARGV[4] then
  again(record, 'status')
  return 1
end
if state[1] ~= 'running' then return 0 end
move('running', ARGV[4])
redis.call('HSET', record, 'outcome', ARGV[6], 'timing', ARGV[7])
if ARGV[5] ~= '' then redis.call('HSET', record, 'error', ARGV[5]) end
for _, name in ipairs(all_series) do
  if redis.call('COPY', series(name), series('exact'), 'REPLACE') == 1 then
    redis.call('RENAME', series('exact'), series(name))
  end
end
return 1
"""
)

# ARGV: attempt, 'released' where its process goes in good order, 'lost' where it died -> 1, or 0 where the attempt is
# stale. The run is queued again; or it ends, as whoever cancelled it wants, or as too many attempts came to nothing.
RELEASE = (
    PRELUDE_ALSO_IF_FULL
    + _LEASES
    + """
if not may_write(ARGV[3]) then return 0 end
if ARGV[4] == 'released' then redis.call('HINCRBY', record, 'fruitless', -1) end
give_up()
return 1
"""
)

# The id is ''. ARGV: lease, name of the queue, seconds between two rounds of messages, seconds for which ended
# experiments are kept or '', most to change at once -> how many leases had run out; seconds until the next one may, or
# -1; the ids to send messages of; damaged runs that were failed; damaged runs and studies to discard. Messages are
# wanted where something is queued, none waits, and not every trainer has a run.
SWEEP = (
    PRELUDE_ALSO_IF_FULL
    + _LEASES
    + DELETING
    + """
local function list_all_ended(most)  -- an earlier version did not
  local statuses = {by_status('succeeded'), by_status('failed'), by_status('cancelled')}
  local unlisted = -redis.call('ZCARD', ended)
  for _, index in ipairs(statuses) do unlisted = unlisted + redis.call('ZCARD', index) end
  if unlisted <= 0 then return end
  for _, index in ipairs(statuses) do
    local runs = redis.call('ZDIFF', 2, index, ended)
    for i = 1, math.min(#runs, most) do
      take(runs[i])
      redis.call('ZADD', ended, redis.call('HGET', record, 'finished_at') or now(), id)
    end
  end
end
local most = tonumber(ARGV[7])
for _, run in ipairs(redis.call('ZDIFF', 2, by_status('running'), leases)) do  -- an earlier version's
  take(run)
  hold(ARGV[3])
end
local lapsed = redis.call('ZRANGEBYSCORE', leases, '-inf', now(), 'LIMIT', 0, most)
local aside, unreadable, to_republish = {}, {}, {}
for _, run in ipairs(lapsed) do
  take(run)
  if not readable(give_up) then
    set_aside()
    aside[#aside + 1] = run
  end
end
if ARGV[6] ~= '' then
  list_all_ended(most)
  for _, run in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', now() - ARGV[6], 'LIMIT', 0, most)) do
    take(run)
    local of = fields_of(run, 'status', 'spec', 'study')
    if not readable(function() delete(of[1], cjson.decode(of[2]).tags) end) then
      redis.call('ZREM', ended, run)
      unreadable[#unreadable + 1] = run
    elseif of[3] and redis.call('EXISTS', by_study(of[3])) == 0 then
      take(of[3])
      if not readable(forget_study) then unreadable[#unreadable + 1] = id end
    end
  end
  for _, study in ipairs(redis.call('ZRANGEBYSCORE', empty_studies, '-inf', now() - ARGV[6], 'LIMIT', 0, most)) do
    take(study)
    if not readable(forget_study) then
      redis.call('ZREM', empty_studies, id)
      unreadable[#unreadable + 1] = id
    end
  end
end
local idle = redis.call('ZCOUNT', prefix .. ':trainers', now(), '+inf') - redis.call('ZCARD', leases)
local next_lapse, soonest = '-1', redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
if soonest then next_lapse = string.format('%.3f', math.max(0, soonest - now())) end
if idle > 0 and redis.call('EXISTS', ARGV[4]) == 0 and redis.call('EXISTS', by_status('queued')) == 1 then
  local pause = string.format('%d', 1000 * ARGV[5])
  if redis.call('SET', prefix .. ':woken', '1', 'PX', pause, 'NX') or #lapsed > 0 then
    to_republish = redis.call('ZRANGE', by_status('queued'), 0, idle - 1)
  end
end
return {#lapsed, next_lapse, to_republish, aside, unreadable}
"""
)

# The id is ''. For a server that no worker uses: every lease ends now -> the damaged runs that were met and failed.
LOSE_ALL = (
    PRELUDE_ALSO_IF_FULL
    + _LEASES
    + """
local aside = {}
for _, run in ipairs(redis.call('ZRANGE', by_status('running'), 0, -1)) do
  take(run)
  if not readable(give_up) then
    set_aside()
    aside[#aside + 1] = run
  end
end
return aside
"""
)
