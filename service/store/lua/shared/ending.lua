--@ uses: lease, damage
-- Ends the current attempt of each run. Returns the ids of damaged runs, which are failed instead. Of a run that does
-- not run, only its entries in the indexes were left.
local function end_attempts(runs)
  local damaged = {}
  for _, run in ipairs(runs) do
    select_run(run)
    local status = fields_of(record, 'status')[1]
    if is_known(status) and status ~= 'running' then
      redis.call('ZREM', key.leases, id)
      unlist(key.with_status('running'), id, record)
    elseif redis.call('EXISTS', record) == 0 or not readable(end_attempt) then
      set_aside()
      damaged[#damaged + 1] = run
    end
  end
  return damaged
end
