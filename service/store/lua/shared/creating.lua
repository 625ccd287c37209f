--@ uses: run
-- Admission, requests that are repeated, and the first state of an experiment.

-- What an earlier request with this key created: its id; 'OTHER_BODY'; or false where nothing is left of it.
local function remembered(request_key, body)
  if request_key == '' then return false end
  local known = redis.call('HMGET', request_key, 'body', 'made', 'hash')
  if not known[1] or redis.call('EXISTS', known[3]) == 0 then return false end
  rewrite(request_key, 'made')
  return known[1] == body and known[2] or 'OTHER_BODY'
end

local function remember(request_key, body, made, hash, seconds)
  if request_key == '' then return end
  redis.call('HSET', request_key, 'body', body, 'made', made, 'hash', hash)
  redis.call('EXPIRE', request_key, seconds)
end

-- Returns why this number of runs with these bytes of history is refused, or false if it is admitted. A limit of '' is
-- no limit.
local function refusal(runs, bytes, max_queued, bytes_left)
  if max_queued ~= '' and redis.call('ZCARD', key.with_status('queued')) + runs > tonumber(max_queued) then
    return 'TOO_MANY_QUEUED'
  end
  if bytes_left ~= '' and tonumber(redis.call('GET', key.reserved) or '0') + bytes > tonumber(bytes_left) then
    return 'TOO_MANY_BYTES'
  end
  return false
end

local function create(spec, warnings, shape, dataset, architecture, steps, bytes, created_at)
  if dataset ~= '' then
    redis.call('SADD', key.users(dataset), id)
    redis.call('HSET', record, 'dataset', dataset)
  end
  redis.call('HSET', record, 'status', 'queued', 'spec', spec, 'warnings', warnings, 'shape', shape)
  redis.call('HSET', record, 'architecture', architecture, 'steps', steps, 'created_at', created_at, 'reserved', bytes)
  redis.call('INCRBY', key.reserved, bytes)
  list(key.experiments, id, record)
  list(key.with_status('queued'), id, record)
  enqueue()
end
