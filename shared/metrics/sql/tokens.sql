-- tokens: tokens_per_s (input tokens executed a second), padding_waste (ratio, 1 is none)
-- formula: real tokens executed in the window / its length; tokens executed with padding / real ones
-- needs: the server's counters tokens_sum, padded_tokens_sum
-- source: this study: texts of a batch are padded to its longest, and padding is computed like text
select
    tokens_sum / nullif((window_end_ns - window_start_ns) / 1e9, 0) as tokens_per_s,
    padded_tokens_sum / nullif(tokens_sum, 0) as padding_waste
from context;
