--@ keys: of_study
--@ arguments: study
--@ uses: hashes
-- Returns the steps that the readable runs of a study have made, the steps that they have in all, the ids of damaged
-- runs, and a list of statuses, each followed by its number of runs.
local counts, made, in_all, damaged = {}, 0, 0, {}
for _, run in ipairs(redis.call('ZRANGE', of_study, 0, -1)) do
  local fields = fields_of(key.record(run), 'status', 'step', 'steps')
  local step, steps = tonumber(fields[2] or '0'), tonumber(fields[3] or '')
  if is_known(fields[1]) and step and steps then
    counts[fields[1]] = (counts[fields[1]] or 0) + 1
    made, in_all = made + step, in_all + steps
  else
    damaged[#damaged + 1] = run
  end
end
local by_status = {}
for status, count in pairs(counts) do
  by_status[#by_status + 1] = status
  by_status[#by_status + 1] = count
end
return {string.format('%.0f', made), string.format('%.0f', in_all), damaged, by_status}
