-- A drain at less cost: all of it stands in routines/drain.sql now.
--
-- applied as well as: 8f73089b83fd9bc2fb7e5a5ecd3311bcf4bc9aa08fec4ccf5d91d7f16a806529 (the drain itself)

SELECT;  -- nothing else is left of it
