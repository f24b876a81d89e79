-- tokens_per_chunk: output tokens a text-carrying chunk holds on average; null where nothing streams
-- formula: tokens / text-carrying chunks, over completed requests
-- needs: chunk_ns, chunk_tokens
-- source: this study: ITL can't be read without it (two tokens a chunk double the gap)
select sum(tokens) / nullif(sum(len(chunk_ns)), 0) as tokens_per_chunk
from offered
where completed;
