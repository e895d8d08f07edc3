"""What encoders are trained with: one objective a file, each a loss on tensors and the parts that it needs beside an encoder."""
