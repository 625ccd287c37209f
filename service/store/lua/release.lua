--@ keys: record
--@ arguments: id, attempt, why
--@ result: DONE | STALE
--@ uses: lease
--@ when full: yes
-- Ends an attempt whose process stops ('released') or died ('lost'): the run is queued again; or it ends, as its
-- cancellation was requested or too many attempts in a row made no progress.
if not may_write(attempt) then return 'STALE' end
if why == 'released' then redis.call('HINCRBY', record, 'attempts_without_progress', -1) end
end_attempt()
return 'DONE'
