--@ uses: run

-- Cancels a queued run and asks a running one to stop; the status before.
local function cancel()
  local status = fields_of(record, 'status')[1]
  if status == 'queued' then
    move('queued', 'cancelled')
    redis.call('HSET', record, 'cancel_requested', '1')
  end
  if status == 'running' then redis.call('HSET', record, 'cancel_requested', '1') end
  return status
end
