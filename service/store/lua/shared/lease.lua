--@ uses: run
-- A claimed run has a lease in a sorted set, by the time at which it ends unless it is prolonged. The number of the
-- attempt is the fencing token: a write of an earlier attempt is refused.

local function prolong(seconds) redis.call('ZADD', key.leases, now() + seconds, id) end

local function may_write(attempt)
  local state = redis.call('HMGET', record, 'status', 'attempts')
  return state[1] == 'running' and state[2] == attempt
end

-- The answer to a trainer that writes or sends a heartbeat.
local function cancel_requested()
  return redis.call('HGET', record, 'cancel_requested') == '1' and 'CANCEL_REQUESTED' or 'DONE'
end

-- The attempt is over before the run has ended: the run is queued again, or ends.
local function end_attempt()
  local state = redis.call('HMGET', record, 'cancel_requested', 'attempts_without_progress')
  if state[1] == '1' then
    move('running', 'cancelled')
  elseif tonumber(state[2] or '0') >= MAX_ATTEMPTS_WITHOUT_PROGRESS then  -- raises where it is damaged
    move('running', 'failed')
    redis.call('HSET', record, 'error', MAX_ATTEMPTS_WITHOUT_PROGRESS .. ' training processes in a row died before '
      .. 'they made progress: killed, or out of memory')
  else
    move('running', 'queued')
    redis.call('HDEL', record, 'device', 'trainer')
    redis.call('DEL', key.model(id))
  end
end
