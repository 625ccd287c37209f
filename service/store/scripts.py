"""The server-side scripts of `service.store.experiments`: each is one atomic change of one experiment.

Every script gets the key prefix and the experiment id as its first two arguments; the clock is the server's, so
that the clocks of workers and of the API never matter.
"""

from service.contract.history_format import SERIES

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
-- An index of all, and that of the tenant, if there is one, whom the hash names that is listed: the record unless said.
local function indexes(of_all, hash)
  local tenant = redis.call('HGET', hash or record, 'tenant')
  return tenant and {of_all, prefix .. ':tenant:' .. tenant .. string.sub(of_all, #prefix + 1)} or {of_all}
end
local function list(of_all, hash)
  for _, index in ipairs(indexes(of_all, hash)) do redis.call('ZADD', index, 0, id) end
end
local function unlist(of_all, hash)
  for _, index in ipairs(indexes(of_all, hash)) do redis.call('ZREM', index, id) end
end
local function own(tenant, hash)
  if tenant ~= '' then redis.call('HSET', hash or record, 'tenant', tenant) end
end
-- Who waits for the disk waits for writes of his own: what an earlier call wrote is written again.
local function again(hash, field) redis.call('HSET', hash, field, redis.call('HGET', hash, field)) end
local promised = prefix .. ':promised'
local function whole(text) return string.match(text or '', '^%d+$') or '0' end
local function let_go()
  local of = redis.call('HMGET', record, 'dataset', 'promised')
  if of[1] then redis.call('SREM', dataset('users', of[1]), id) end
  if of[2] then
    if redis.call('DECRBY', promised, whole(of[2])) == 0 then redis.call('DEL', promised) end
    redis.call('HDEL', record, 'promised')
  end
end
local leases, ended = prefix .. ':leases', prefix .. ':ended'
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
  if from == 'running' then redis.call('ZREM', leases, id) end
  if to ~= 'queued' and to ~= 'running' then
    let_go()
    redis.call('DEL', series('checkpoint'))
    redis.call('HSET', record, 'finished_at', now())
    redis.call('ZADD', ended, now(), id)
  end
  unlist(by_status(from))
  list(by_status(to))
  redis.call('HSET', record, 'status', to)
end
local statuses = {'queued', 'running', 'succeeded', 'failed', 'cancelled'}
local function is_known(status)
  for _, known in ipairs(statuses) do
    if status == known then return true end
  end
  return false
end
-- Fields of another run's record; none where the key holds no hash.
local function fields_of(run, ...)
  local found = redis.pcall('HMGET', prefix .. ':{' .. run .. '}:record', ...)
  return found.err and {} or found
end
local function drop_history()
  for _, name in ipairs(all_series) do redis.call('DEL', series(name)) end
  redis.call('DEL', series('model'), series('checkpoint'))
  redis.call('HDEL', record, 'step', 'epoch', 'outcome', 'timing', 'error')
end
"""
)

# Freeing memory, and what keeps runs alive, work in a server that takes nothing else.
PRELUDE_ALSO_IF_FULL = "#!lua flags=allow-oom\n" + PRELUDE

# A request that is made again is known by its key: `remembered` gives the id of what was made, -2 where the body is
# another, and false where there is none, or none any more.
CREATING = """
local function remembered(request, body)
  if request == '' then return false end
  local key = prefix .. ':request:' .. request
  local known = redis.call('HMGET', key, 'body', 'made', 'hash')
  if not known[1] or redis.call('EXISTS', known[3]) == 0 then return false end
  again(key, 'made')
  return known[1] == body and known[2] or -2
end
local function remember(request, body, hash, seconds)
  if request == '' then return end
  redis.call('HSET', prefix .. ':request:' .. request, 'body', body, 'made', id, 'hash', hash)
  redis.call('EXPIRE', prefix .. ':request:' .. request, seconds)
end
local function refusal(runs, bytes, most_queued, bytes_left)
  if most_queued ~= '' and redis.call('ZCARD', by_status('queued')) + runs > tonumber(most_queued) then return -3 end
  if bytes_left ~= '' and tonumber(redis.call('GET', promised) or '0') + bytes > tonumber(bytes_left) then return -4 end
  return false
end
local function create(spec, warnings, shape, used, architecture, steps, bytes, created_at)
  if used ~= '' then
    redis.call('SADD', dataset('users', used), id)
    redis.call('HSET', record, 'dataset', used)
  end
  redis.call('HSET', record, 'status', 'queued', 'spec', spec, 'warnings', warnings, 'shape', shape)
  redis.call('HSET', record, 'architecture', architecture, 'steps', steps, 'created_at', created_at, 'promised', bytes)
  redis.call('INCRBY', promised, bytes)
  list(prefix .. ':experiments')
  list(by_status('queued'))
  enqueue()
end
"""

# ARGV: key of a request, digest of its body -> as `remembered`.
REMEMBERED = PRELUDE_ALSO_IF_FULL + CREATING + "return remembered(ARGV[3], ARGV[4])"

# ARGV: spec, warnings, shape, data set or '', architecture or '', steps, bytes of its history, key of the request or
# '', digest of its body, seconds for which that is remembered, most that may be queued or '', bytes left or '', tenant
# or '', tag… -> when it was made; the id of what the same request has made before, in a list; 0 where the id is taken,
# -1 where there is no such data set, -2 where the request had another body, -3 and -4 where there would be too many or
# too much.
CREATE = (
    PRELUDE
    + CREATING
    + """
local before = remembered(ARGV[10], ARGV[11])
if before == -2 then return -2 end
if before then return {before} end
local known = redis.call('HMGET', record, 'spec', 'created_at')
if known[1] then  -- the client calls again where an answer was lost
  if known[1] ~= ARGV[3] then return 0 end
  again(record, 'created_at')
  return known[2]
end
local refused = refusal(1, ARGV[9], ARGV[13], ARGV[14])
if refused then return refused end
if ARGV[6] ~= '' and redis.call('EXISTS', dataset('dataset', ARGV[6])) == 0 then return -1 end
local created_at = now()
own(ARGV[15])
create(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], created_at)
remember(ARGV[10], ARGV[11], record, ARGV[12])
for i = 16, #ARGV do list(by_tag(ARGV[i])) end
return created_at
"""
)

CANCELLING = """
local function cancel()
  local status = redis.call('HGET', record, 'status')
  if status == 'queued' then
    move('queued', 'cancelled')
    redis.call('HSET', record, 'cancel_requested', '1')
  end
  if status == 'running' then redis.call('HSET', record, 'cancel_requested', '1') end
  return status
end
"""

# -> the status before it, or false where there is no such experiment.
CANCEL = PRELUDE_ALSO_IF_FULL + CANCELLING + "return cancel()"

DELETING = """
local empty_studies = prefix .. ':studies:empty'
local function forget_study()
  unlist(prefix .. ':studies', series('study'))
  redis.call('ZREM', empty_studies, id)
  redis.call('DEL', series('study'))
end
local function delete(status, tags)
  local study = redis.call('HGET', record, 'study')
  if study then
    unlist(by_study(study))
    if redis.call('EXISTS', by_study(study)) == 0 then redis.call('ZADD', empty_studies, now(), study) end
  end
  let_go()
  if status == 'queued' or not is_known(status) then dequeue() end
  unlist(prefix .. ':experiments')
  for _, name in ipairs(is_known(status) and {status} or statuses) do unlist(by_status(name)) end
  for _, tag in ipairs(tags) do unlist(by_tag(tag)) end
  redis.call('ZREM', ended, id)
  drop_history()
  redis.call('DEL', record)
end
"""

# ARGV: tag… -> 1, 0 where it still runs, -1 where there is no such experiment.
DELETE = (
    PRELUDE_ALSO_IF_FULL
    + DELETING
    + """
local status = redis.call('HGET', record, 'status')
if not status then return -1 end
if status == 'running' then return 0 end
delete(status, {unpack(ARGV, 3)})
return 1
"""
)

# For these the id is a data set's. ARGV: description, bytes of its arrays, most bytes of all, tenant or '' -> 1, or 0
# where there would be too many. The arrays were written before, to expire: nothing of a refused data set stays, and all
# of one that is there already, for the client calls again where an answer was lost.
ADD_DATASET = (
    PRELUDE
    + """
local total = prefix .. ':datasets:bytes'
if redis.call('EXISTS', dataset('dataset', id)) == 1 then
  again(dataset('dataset', id), 'bytes')
  redis.call('PERSIST', dataset('x', id))
  redis.call('PERSIST', dataset('y', id))
  return 1
end
if tonumber(redis.call('GET', total) or '0') + tonumber(ARGV[4]) > tonumber(ARGV[5]) then
  redis.call('DEL', dataset('x', id), dataset('y', id))
  return 0
end
redis.call('HSET', dataset('dataset', id), 'description', ARGV[3], 'bytes', ARGV[4], 'created_at', now())
redis.call('PERSIST', dataset('x', id))
redis.call('PERSIST', dataset('y', id))
redis.call('INCRBY', total, ARGV[4])
own(ARGV[6], dataset('dataset', id))
list(prefix .. ':datasets', dataset('dataset', id))
return 1
"""
)

# -> 1, 0 where an experiment that has not ended uses it, -1 where there is no such data set.
DELETE_DATASET = (
    PRELUDE_ALSO_IF_FULL
    + """
if redis.call('EXISTS', dataset('dataset', id)) == 0 then return -1 end
local bytes = redis.call('HGET', dataset('dataset', id), 'bytes')
if redis.call('SCARD', dataset('users', id)) > 0 then return 0 end
unlist(prefix .. ':datasets', dataset('dataset', id))
redis.call('DEL', dataset('dataset', id), dataset('x', id), dataset('y', id))
redis.call('DECRBY', prefix .. ':datasets:bytes', whole(bytes))
return 1
"""
)

# For a damaged record: nothing is taken from its fields but numbers that are numbers. KEYS: every sorted set and every
# set of the store. The id is an experiment's, a study's or a data set's.
DISCARD = (
    PRELUDE_ALSO_IF_FULL
    + """
local function number_of(key, field)
  local found = redis.pcall('HGET', key, field)
  return whole(type(found) == 'string' and found or '')
end
local left = redis.call('DECRBY', promised, number_of(record, 'promised'))
if left <= 0 then redis.call('DEL', promised) end
if redis.call('EXISTS', dataset('dataset', id)) == 1 then
  redis.call('DECRBY', prefix .. ':datasets:bytes', number_of(dataset('dataset', id), 'bytes'))
end
for _, key in ipairs(KEYS) do
  redis.pcall('ZREM', key, id)
  redis.pcall('SREM', key, id)
end
for _, architecture in ipairs(redis.call('ZRANGE', architectures, 0, -1)) do
  if redis.call('EXISTS', queued_of(architecture)) == 0 then redis.call('ZREM', architectures, architecture) end
end
for _, part in ipairs({'record', 'study', 'dataset', 'x', 'y', 'users'}) do redis.call('DEL', series(part)) end
for _, name in ipairs(all_series) do redis.call('DEL', series(name)) end
redis.call('DEL', series('model'), series('checkpoint'))
return 1
"""
)
