--@ keys: record, model
--@ arguments: id, attempt, file
--@ result: DONE | STALE
--@ uses: lease
-- Keeps the trained model.
if not may_write(attempt) then return 'STALE' end
redis.call('SET', model, file)
return 'DONE'
