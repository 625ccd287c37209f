"""The server-side scripts of `service.store.studies`; the id that each gets is a study's."""

from service.store.scripts import CANCELLING, CREATING, DELETING, PRELUDE, PRELUDE_ALSO_IF_FULL

# ARGV: the study's spec, key of the request or '', digest of its body, seconds for which that is remembered, most that
# may be queued or '', bytes left or '', tenant or '', warnings, number of tags, tags…, then for each run its id, spec,
# warnings, shape, data set or '', architecture, steps, bytes of its history, layout of its norms -> when it was made,
# or as CREATE answers. All or nothing; and once, though the client calls again where an answer was lost.
CREATE_STUDY = (
    PRELUDE
    + CREATING
    + """
local repeated = redis.call('HGET', series('study'), 'created_at')
if repeated then
  again(series('study'), 'created_at')
  return repeated
end
local before = remembered(ARGV[4], ARGV[5])
if before == -2 then return -2 end
if before then return {before} end
local first, size, runs, bytes = 12 + tonumber(ARGV[11]), 9, 0, 0
for i = first, #ARGV, size do
  if ARGV[i + 4] ~= '' and redis.call('EXISTS', dataset('dataset', ARGV[i + 4])) == 0 then return -1 end
  runs, bytes = runs + 1, bytes + tonumber(ARGV[i + 7])
end
local refused = refusal(runs, bytes, ARGV[7], ARGV[8])
if refused then return refused end
local study, created_at = id, now()
redis.call('HSET', series('study'), 'spec', ARGV[3], 'warnings', ARGV[10], 'created_at', created_at)
own(ARGV[9], series('study'))
list(prefix .. ':studies', series('study'))
remember(ARGV[4], ARGV[5], series('study'), ARGV[6])
for i = first, #ARGV, size do
  take(ARGV[i])
  -- Before `create`, which puts it into the queue of its architecture.
  redis.call('HSET', record, 'study', study, 'norms', ARGV[i + 8], 'architecture', ARGV[i + 5])
  own(ARGV[9])
  list(by_study(study))
  create(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7], created_at)
  for tag = 12, first - 1 do list(by_tag(ARGV[tag])) end
end
return created_at
"""
)

# -> how many of its runs had not ended, or false where there is no such study.
CANCEL_STUDY = (
    PRELUDE_ALSO_IF_FULL
    + CANCELLING
    + """
if redis.call('EXISTS', series('study')) == 0 then return false end
local open, study = 0, id
for _, run in ipairs(redis.call('ZRANGE', by_study(study), 0, -1)) do
  take(run)
  local before = fields_of(run, 'status')[1]
  if before == 'queued' or before == 'running' then
    open = open + 1
    cancel()
  end
end
if open > 0 then redis.call('HSET', prefix .. ':{' .. study .. '}:study', 'cancel_requested', '1') end
return open
"""
)

# ARGV: tag… -> 1, 0 where any of its runs still runs, -1 where there is no such study.
DELETE_STUDY = (
    PRELUDE_ALSO_IF_FULL
    + DELETING
    + """
local study = id
if redis.call('EXISTS', series('study')) == 0 then return -1 end
local runs = redis.call('ZRANGE', by_study(study), 0, -1)
for _, run in ipairs(runs) do
  take(run)
  if fields_of(run, 'status')[1] == 'running' then return 0 end
end
for _, run in ipairs(runs) do
  take(run)
  delete(fields_of(run, 'status')[1], {unpack(ARGV, 3)})
end
take(study)
forget_study()
return 1
"""
)

# -> for each of its runs, in the grid's order: id, status, step, steps, outcome, layout of its norms.
STUDY_RUNS = (
    PRELUDE
    + """
local found = {}
for _, run in ipairs(redis.call('ZRANGE', by_study(id), 0, -1)) do
  local of = fields_of(run, 'status', 'step', 'steps', 'outcome', 'norms')
  found[#found + 1] = {run, of[1] or '', of[2] or '0', of[3] or '', of[4] or '{}', of[5] or ''}
end
return found
"""
)

# -> steps of its readable runs so far and in all, the ids of damaged ones, then how many there are of each status:
# status, number, …
TALLY = (
    PRELUDE
    + """
local counts, done, all, unreadable = {}, 0, 0, {}
for _, run in ipairs(redis.call('ZRANGE', by_study(id), 0, -1)) do
  local of = fields_of(run, 'status', 'step', 'steps')
  local step, steps = tonumber(of[2] or '0'), tonumber(of[3] or '')
  if is_known(of[1]) and step and steps then
    counts[of[1]] = (counts[of[1]] or 0) + 1
    done, all = done + step, all + steps
  else
    unreadable[#unreadable + 1] = run
  end
end
local found = {string.format('%.0f', done), string.format('%.0f', all), unreadable}
for status, count in pairs(counts) do
  found[#found + 1] = status
  found[#found + 1] = count
end
return found
"""
)
