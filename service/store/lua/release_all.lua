--@ uses: ending
--@ when full: yes
-- Ends every attempt, for a server that no worker uses. Returns the ids of damaged runs, which were failed. The script
-- finds the runs itself, so its keys are derived here and cannot be declared.
return end_attempts(redis.call('ZRANGE', key.with_status('running'), 0, -1))
