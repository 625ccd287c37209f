--@ keys: record
--@ arguments: id, attempt, status, error_text, outcome, timing
--@ result: DONE | STALE
--@ uses: run
-- Ends a run. Appending leaves a string up to twice as large as its content; the copy of each series is exact.
local state = redis.call('HMGET', record, 'status', 'attempts')
if state[2] ~= attempt then return 'STALE' end
if state[1] == status then
  rewrite(record, 'status')
  return 'DONE'
end
if state[1] ~= 'running' then return 'STALE' end
move('running', status)
redis.call('HSET', record, 'outcome', outcome, 'timing', timing)
if error_text ~= '' then redis.call('HSET', record, 'error', error_text) end
for _, name in ipairs(all_series) do
  if redis.call('COPY', key.series(id, name), key.exact(id), 'REPLACE') == 1 then
    redis.call('RENAME', key.exact(id), key.series(id, name))
  end
end
return 'DONE'
