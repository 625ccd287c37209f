--@ keys: bucket
--@ arguments: digest, rate, burst, time
--@ when full: yes
--@ schema: any
-- Takes a token from a bucket that gains `rate` tokens per second and holds `burst`. The bucket is stored as the time
-- at which it is full again. Returns the seconds until there is a token, or '0' where one was taken. Runs in a full
-- server too, because deletions need tokens. `time` is the time in seconds, or '' for that of the server.
local at = tonumber(time) or tonumber(now())
local full_at = math.max(tonumber(redis.call('GET', bucket) or '0'), at) + 1 / rate
local wait = full_at - at - burst / rate
if wait > 1e-6 then return string.format('%.6f', wait) end
redis.call('SET', bucket, string.format('%.6f', full_at), 'PX', math.ceil((full_at - at) * 1000))
return '0'
