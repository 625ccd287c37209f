--@ keys: record, checkpoint
--@ arguments: id, attempt
--@ result: DROPPED | NO_CHECKPOINT | STALE
--@ uses: lease
--@ when full: yes
-- Frees memory for a run whose history finds none. A run whose cancellation was requested ends here: STALE.
if not may_write(attempt) then return 'STALE' end
if redis.call('HGET', record, 'cancel_requested') == '1' then
  end_attempt()
  return 'STALE'
end
return redis.call('DEL', checkpoint) == 1 and 'DROPPED' or 'NO_CHECKPOINT'
