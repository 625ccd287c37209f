--@ keys: of_study
--@ arguments: study
--@ uses: hashes
-- Returns for each run of a study, in the grid's order: id, status, step, steps, outcome, layout of its norms.
local found = {}
for _, run in ipairs(redis.call('ZRANGE', of_study, 0, -1)) do
  local fields = fields_of(key.record(run), 'status', 'step', 'steps', 'outcome', 'norms')
  found[#found + 1] = {run, fields[1] or '', fields[2] or '0', fields[3] or '', fields[4] or '{}', fields[5] or ''}
end
return found
