--@ uses: run
-- Scripts that choose a run themselves meet damaged records. One of them must stop neither a sweep nor all claims.

local function dequeue_everywhere()
  redis.call('ZREM', key.queued_singles, id)
  for _, architecture in ipairs(redis.call('ZRANGE', key.queued_architectures, 0, -1)) do
    redis.call('ZREM', key.queued_runs(architecture), id)
    if redis.call('EXISTS', key.queued_runs(architecture)) == 0 then
      redis.call('ZREM', key.queued_architectures, architecture)
    end
  end
end

-- Fails a damaged record, so that no trainer and no sweep meets it again. The status comes first: what follows may
-- meet further damage.
local function set_aside()
  redis.call('ZREM', key.leases, id)
  dequeue_everywhere()
  for _, status in ipairs(statuses) do redis.call('ZREM', key.with_status(status), id) end
  if redis.call('TYPE', record).ok ~= 'hash' then return end
  redis.call('HSET', record, 'status', 'failed', 'finished_at', now(),
    'error', 'the record of this experiment is damaged: a trainer or a sweep could not read it')
  for _, status in ipairs(statuses) do unlist(key.with_status(status), id, record) end
  release_reservation()
  redis.call('ZADD', key.ended, now(), id)
  list(key.with_status('failed'), id, record)
end
