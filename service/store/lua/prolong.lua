--@ keys: record
--@ arguments: id, attempt, lease
--@ result: DONE | CANCEL_REQUESTED | STALE
--@ uses: lease
--@ when full: yes
-- Prolongs the lease of a run that its trainer still trains.
if not may_write(attempt) then return 'STALE' end
prolong(lease)
return cancel_requested()
