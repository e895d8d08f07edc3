"""How much of what people post is written by machines?"""
