--@ keys: record, checkpoint
--@ arguments: id, attempt, lease, step, epoch, outcome, timing, format, state
--@ rest: pieces
--@ result: DONE | CANCEL_REQUESTED | STALE
--@ uses: lease
-- Adds a chunk to the history and prolongs the lease. Each of `pieces` is a series, the bytes that it had before, and
-- the bytes to add; `state` is a checkpoint, or '' for none. STALE: the attempt does not own the run, or the chunk
-- does not join the stored history. A client repeats a write whose answer it lost: where every length is already that
-- after the write, nothing is added and the answer is that of the first time.
if not may_write(attempt) then return 'STALE' end
local repeated = redis.call('HGET', record, 'step') == step
for i = pieces_start, #ARGV, 3 do
  local expected = tonumber(ARGV[i + 1]) + (repeated and #ARGV[i + 2] or 0)
  if redis.call('STRLEN', key.series(id, ARGV[i])) ~= expected then return 'STALE' end
end
if not repeated then
  for i = pieces_start, #ARGV, 3 do redis.call('APPEND', key.series(id, ARGV[i]), ARGV[i + 2]) end
  redis.call('HSET', record, 'step', step, 'epoch', epoch, 'outcome', outcome, 'timing', timing)
end
if state ~= '' then
  redis.call('DEL', checkpoint)
  redis.call('HSET', checkpoint, 'format', format, 'state', state, 'step', step, 'epoch', epoch,
    'outcome', outcome, 'timing', timing, 'at', now())
  for _, name in ipairs(all_series) do
    local length = redis.call('STRLEN', key.series(id, name))
    if length > 0 then redis.call('HSET', checkpoint, 'bytes:' .. name, length) end
  end
  redis.call('HDEL', record, 'attempts_without_progress')
end
prolong(lease)
return cancel_requested()
