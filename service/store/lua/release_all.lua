--@ uses: lease, damage
--@ when full: yes
-- Ends every attempt, for a server that no worker uses. Returns the ids of damaged runs, which were failed. The script
-- finds the runs itself, so its keys are derived here and cannot be declared.
local damaged = {}
for _, run in ipairs(redis.call('ZRANGE', key.with_status('running'), 0, -1)) do
  select_run(run)
  if not readable(end_attempt) then
    set_aside()
    damaged[#damaged + 1] = run
  end
end
return damaged
