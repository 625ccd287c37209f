--@ uses: run

local function forget_study(study)
  unlist(key.studies, study, key.study_hash(study))
  redis.call('ZREM', key.empty_studies, study)
  redis.call('DEL', key.study_hash(study))
end

-- Deletes an experiment. With a damaged status it is removed from the index of every status.
local function delete(status, tags)
  local study = redis.call('HGET', record, 'study')
  if study then
    unlist(key.of_study(study), id, record)
    if redis.call('EXISTS', key.of_study(study)) == 0 then redis.call('ZADD', key.empty_studies, now(), study) end
  end
  release_reservation()
  if status == 'queued' or not is_known(status) then dequeue() end
  unlist(key.experiments, id, record)
  for _, name in ipairs(is_known(status) and {status} or statuses) do unlist(key.with_status(name), id, record) end
  for _, tag in ipairs(tags) do unlist(key.with_tag(tag), id, record) end
  redis.call('ZREM', key.ended, id)
  drop_history()
  redis.call('DEL', record)
end
