--@ keys: queue
--@ arguments: pause_s, keep_s, max_changes, lease, old_trainers
--@ uses: ending, deleting
--@ when full: yes
-- Gives a lease to each running run without one, as nothing else would ever end its attempt. Ends the attempts whose
-- leases have ended, deletes what ended more than `keep_s` seconds ago ('' for never), and
-- finds queued runs whose messages may be lost: where something is queued, no message waits, and a trainer is idle, at
-- most once in `pause_s` seconds. Changes at most `max_changes` records of each kind.
--
-- Returns how many leases had ended; the seconds until the next one may end, or -1; the ids to publish again; the ids
-- of damaged runs that were failed; the ids of damaged experiments and studies that are due for deletion; how many
-- trainers of version 0 live. The script finds the runs itself, so most of its keys are derived here and cannot be
-- declared.
for _, run in ipairs(redis.call('ZDIFF', 2, key.with_status('running'), key.leases)) do
  select_run(run)
  prolong(lease)
end
local expired = redis.call('ZRANGEBYSCORE', key.leases, '-inf', now(), 'LIMIT', 0, max_changes)
local damaged, undeletable, to_republish = end_attempts(expired), {}, {}
if keep_s ~= '' then
  local before = now() - keep_s
  for _, run in ipairs(redis.call('ZRANGEBYSCORE', key.ended, '-inf', before, 'LIMIT', 0, max_changes)) do
    select_run(run)
    local fields = fields_of(record, 'status', 'spec', 'study')
    local study = fields[3]
    if not readable(function() delete(fields[1], cjson.decode(fields[2]).tags) end) then
      redis.call('ZREM', key.ended, run)
      undeletable[#undeletable + 1] = run
    elseif study and redis.call('EXISTS', key.of_study(study)) == 0 then
      if not readable(forget_study, study) then undeletable[#undeletable + 1] = study end
    end
  end
  for _, study in ipairs(redis.call('ZRANGEBYSCORE', key.empty_studies, '-inf', before, 'LIMIT', 0, max_changes)) do
    if not readable(forget_study, study) then
      redis.call('ZREM', key.empty_studies, study)
      undeletable[#undeletable + 1] = study
    end
  end
end
-- A trainer of version 0, which no check refuses, does not release what is reserved for the runs that it ends. Its
-- heartbeats are under a key that this version deletes as soon as none is left.
local old_alive = 0
if redis.call('EXISTS', old_trainers) == 1 then
  for _, run in ipairs(redis.call('ZREVRANGE', key.ended, 0, 100 * max_changes)) do
    select_run(run)
    if fields_of(record, 'reserved')[1] then release_reservation() end
  end
  old_alive = redis.call('ZCOUNT', old_trainers, now(), '+inf')
  if old_alive == 0 then redis.call('DEL', old_trainers) end
end
-- Only runs that have not ended reserve memory. This releases what damaged records have left in the total.
if redis.call('EXISTS', key.with_status('queued'), key.with_status('running')) == 0 then
  redis.call('DEL', key.reserved)
end
local idle = redis.call('ZCOUNT', key.trainers(SCHEMA_VERSION), now(), '+inf') - redis.call('ZCARD', key.leases)
local next_expiry, soonest = '-1', redis.call('ZRANGE', key.leases, 0, 0, 'WITHSCORES')[2]
if soonest then next_expiry = string.format('%.3f', math.max(0, soonest - now())) end
if idle > 0 and redis.call('EXISTS', queue) == 0 and redis.call('EXISTS', key.with_status('queued')) == 1 then
  if tonumber(redis.call('GET', key.republished) or '0') <= tonumber(now()) or #expired > 0 then
    local pause_ms = string.format('%d', math.max(1, 1000 * pause_s))
    redis.call('SET', key.republished, string.format('%.6f', now() + pause_s), 'PX', pause_ms)
    to_republish = redis.call('ZRANGE', key.with_status('queued'), 0, idle - 1)
  end
end
return {#expired, next_expiry, to_republish, damaged, undeletable, old_alive}
