"""The messages on the wire, against bytes that code generated from Dragonfly's own .proto files wrote."""

from modfile.dragonfly.messages import DownloadTaskRequest, DownloadTaskResponse

REQUEST = (
    "0a4e0a2568747470733a2f2f722e696f2f76322f6c6c6d2f6d2f626c6f62732f7368613235363a303038064a190a0d417574686f72697a6174"
    "696f6e120842656172657220745a082f746d702f6f7574"
)
STARTED = "0a01681201741a0170221408f0a2041a060a01611201622204080120052801"
PIECE = "0a01681201741a01702a280a2608031201781880808002208080c0022a0763726333323a313801420208014a060880e2cfaa06"


def test_a_request_is_written_as_dragonfly_reads_it():
    request = DownloadTaskRequest()
    request.download.url = "https://r.io/v2/llm/m/blobs/sha256:00"
    request.download.priority = 6
    request.download.request_header["Authorization"] = "Bearer t"
    request.download.output_path = "/tmp/out"
    assert request.SerializeToString().hex() == REQUEST


def test_the_start_of_a_download_is_read():
    answer = DownloadTaskResponse.FromString(bytes.fromhex(STARTED))
    assert answer.task_id == "t"
    assert answer.download_task_started_response.content_length == 70000
    assert answer.download_task_started_response.is_finished
    assert not answer.HasField("download_piece_finished_response")


def test_a_finished_piece_is_read():
    answer = DownloadTaskResponse.FromString(bytes.fromhex(PIECE))
    assert not answer.HasField("download_task_started_response")
    piece = answer.download_piece_finished_response.piece
    assert (piece.number, piece.offset, piece.length) == (3, 4 << 20, 5 << 20)
