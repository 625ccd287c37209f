--@ uses: lease, damage
-- Ends the current attempt of each run. Returns the ids of damaged runs, which are failed instead.
local function end_attempts(runs)
  local damaged = {}
  for _, run in ipairs(runs) do
    select_run(run)
    if not readable(end_attempt) then
      set_aside()
      damaged[#damaged + 1] = run
    end
  end
  return damaged
end
