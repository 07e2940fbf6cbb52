-- Two tokens of receiver-main are two receivers, told apart by the first 8 digits of their ids (shared/transport/tokens.py). Ids
-- that were made within a minute before they were random have the same: those get another one.
--
-- applied as well as: 9ecc756341aec99466b30b723c526db4516440ecb711e6ac79875e9e39d39d8a (the same, with other comments)
UPDATE device_tokens SET token_id = gen_random_uuid()
WHERE device_type = 'receiver' AND device_id = 'receiver-main'
  AND left(token_id::text, 8) IN (
      SELECT left(token_id::text, 8) FROM device_tokens
      WHERE device_type = 'receiver' AND device_id = 'receiver-main'
      GROUP BY 1 HAVING count(*) > 1);
