"""The wire: IBM's REST dialect, IAM, resource search and catalog, and Ketline's own endpoints.

The dialect's oddities (``Cancelled`` here, ``canceled`` there, two forms of an error body) live in this room
alone. One file per noun; each lists its endpoints as `ketline.api.operations.Operation`.
"""
